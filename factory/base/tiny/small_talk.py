"""What people say in passing, and an answer to each: (asked, answer)."""

SMALL_TALK = tuple(tuple(line.split(" > ")) for line in """
How are you? > Fine, thank you. And how are you?
How are you today? > Very well, thanks for asking.
Good morning! > Good morning! I hope the day starts well.
Good evening. > Good evening to you.
Hello! > Hello! Nice to hear from you.
Hi there > Hi! What is on your mind?
Hey > Hey! How is it going?
Thank you! > You are welcome.
Thanks a lot > Any time.
Goodbye. > Goodbye, and take care.
See you tomorrow > See you then!
Good night > Good night, sleep well.
I am tired. > Then a short rest may be a good idea.
I am hungry. > Maybe a sandwich or some soup would help.
I feel sad today. > I am sorry to hear that. A walk or a talk with a friend can help.
I am so happy! > That is lovely to hear.
It is raining again. > Do not forget your umbrella.
What a beautiful day! > Yes, a good day to be outside.
I cannot sleep. > A warm drink and a quiet room may help.
My cat is ill. > I hope it gets well soon. A vet can tell more.
I lost my keys. > Look in your coat first, that is where keys like to hide.
I passed my exam! > Well done! All the work was worth it.
My train is late. > That is annoying. I hope it comes soon.
Can you help me? > Sure. What is it about?
I have a question. > Please go on.
Tell me something nice. > Somewhere a dog is very happy to see its friend.
Tell me a joke. > Why did the book go to the doctor? It had too many pages in its back.
What should I cook tonight? > Pasta with tomatoes is quick and good.
What should I read? > Take a book of short stories, they fit into any evening.
Do you like music? > Music makes most days better.
What is your favourite colour? > Blue is hard to beat, like the sky in summer.
Is it cold outside? > Take a coat, just to be sure.
Who made this cake? > It tastes as if a good baker made it.
Who wrote this song? > The name should be on the cover.
Who built this house? > Some careful builders, long ago.
Who created this picture? > A painter with a steady hand.
Who developed this game? > A small team of friends, it seems.
What can you see from the window? > A tree, a street and some clouds.
What can I do in the garden? > You can plant herbs, they grow fast.
What is this called? > It may be called a gadget.
What is the name of the dog? > The tag on its collar should say so.
Are you ready? > Ready when you are.
Are you sure? > As sure as one can be.
Are you there? > Yes, right here.
Where are you? > Not far away at all.
Are we late? > Only by a few minutes.
Is this seat taken? > No, please sit down.
Could you repeat that? > Of course, which part?
I do not understand. > Let us go through it step by step.
That is wrong. > Then let us look at it once more.
You are funny. > I am glad it made you smile.
This is great! > Good to hear that it works.
I am bored. > A walk, a puzzle or a call to a friend may help.
I need a break. > Ten minutes and some fresh air do wonders.
Happy birthday! > What a kind wish, thank you.
Merry Christmas! > Merry Christmas to you and your family.
What is a good present for my mother? > Flowers and a letter never fail.
How do I make tea? > Boil water, pour it over the leaves and wait three minutes.
How do I boil an egg? > Put it in hot water for seven minutes.
How do I get to the station? > Follow the main road and turn left at the church.
Why is the sky blue? > Because air scatters blue light more than red.
Why do leaves fall? > Trees save water in winter that way.
What do bees make? > Bees make honey.
Where do fish live? > Fish live in water.
What is ice? > Ice is frozen water.
What is a library? > A place where people read and borrow books.
Who works in a hospital? > Doctors and nurses work there.
What does a baker do? > A baker makes bread and cakes.
What does a teacher do? > A teacher helps others to learn.
What is a computer? > A machine that follows instructions very fast.
What is an assistant? > Someone who helps others with their work.
What is a language? > Words and rules with which people talk to each other.
Describe your room. > A table, a chair and a lamp.
Introduce your friend. > A kind person who likes long walks.
Tell me about your town. > It has a river, a market and many bridges.
What a long day. > Then sit down and rest a little.
What a pity. > Yes, but there will be another time.
What a mess! > Let us tidy up one corner first.
What a surprise! > Yes, who would have thought that.
Well done! > Thank you, it was a pleasure.
Good luck! > Thank you, luck is always useful.
Get well soon! > Thank you, rest will help.
Have a nice weekend! > Thank you, the same to you.
Happy new year! > A happy and healthy new year to you too.
Enjoy your meal! > Thank you, it smells very good.
Welcome back! > Thank you, it is good to be here again.
Long time no see! > Yes, far too long. What is new?
What is new? > Not much, it has been a quiet week.
How was your weekend? > Quiet and sunny, with a long breakfast.
How is the weather? > A bit of sun and a bit of wind.
How was the film? > A little long, but the end was good.
How far is it? > Half an hour on foot, less by bike.
How long does it take? > About an hour, if nothing goes wrong.
How much is it? > Less than one would think.
How do I get rid of a cold? > Sleep, tea and some days of rest.
How do I clean my shoes? > A damp cloth and a little soap will do.
How do I learn to swim? > Start in shallow water with a patient teacher.
How do I keep flowers fresh? > Give them new water each day and cut the ends.
How do I remember names? > Say them aloud when you hear them first.
Where is my umbrella? > Perhaps it stands behind the door.
Where should I sit? > Take the chair by the window.
Where can I buy stamps? > At the post office, or at the shop beside it.
Where do birds go in winter? > Many fly south, where it is warm.
Where does bread come from? > From flour, water, salt and a hot oven.
When does the sun rise? > Early in summer and late in winter.
When is lunch? > Around noon, as always.
When do the shops close? > Most of them in the evening.
When will it stop raining? > Perhaps before the evening.
Why is the sea salty? > Rivers carry salt from the rocks into it.
Why do cats sleep so much? > They save their strength for the hunt.
Why is it so loud here? > They are at work in the street.
Why is bread soft inside? > Because small bubbles of air stay in it.
Why are you laughing? > Because it was a good joke.
Why do we dream? > Nobody knows for sure, but dreams sort the day.
Who is at the door? > It may be the neighbour with the post.
Who won the game? > The team that ran more.
Who is that man over there? > I have not met him before.
Who left the window open? > It must have been the wind.
Who is the oldest here? > The tree in the yard, for sure.
Who owns this dog? > A man from the next street, I think.
Who teaches you the piano? > An old teacher with a lot of patience.
Which way is north? > Where the moss grows on the trees.
Which day is best? > A day in the middle of the week.
Which coat should I take? > The warm one, it is windy.
Do you like cheese? > With bread and apples it is hard to beat.
Do you like the sea? > Waves and wind are good for the mind.
Do you have time? > Yes, a few minutes.
Do you have a pen? > There is one on the table.
Do you know this song? > The tune is well known, the words less so.
Do you know the way? > Along the river and over the old bridge.
Do you see the star? > Yes, it is very bright tonight.
Did you hear that? > It was only the wind.
Did you sleep well? > Like a stone, thank you.
Have you eaten? > Not yet, but it smells good here.
Have you been there? > No, but the pictures are lovely.
Can you swim? > Water is best seen from the bridge.
Can you sing? > Only songs that everybody knows.
Can we go now? > Yes, everything is ready.
Can I open the window? > Yes, some fresh air is welcome.
Can I sit here? > Of course, the seat is free.
Could you wait a moment? > Take all the time you need.
Would you like some tea? > With a little milk, if there is some.
Would you like to dance? > Only to slow music.
May I come in? > Yes, the door is open.
Shall we start? > Yes, let us begin with the easy part.
Shall we walk? > Yes, it is not far.
Is it far? > No, just around the corner.
Is it late? > Nearly time to sleep.
Is the shop open? > From nine in the morning, as a rule.
Is this your bag? > No, it must be somebody else's.
Is dinner ready? > Only the sauce needs a moment.
Is he angry? > No, he only looks like that.
Are they here? > They should arrive at any minute.
Are you hungry? > A small bite is always welcome.
Are you cold? > A little, the window is open.
Are you busy? > Never too busy for a question.
Are you angry? > Not at all, it is all right.
Are we lost? > No, the church is right over there.
I am cold. > A blanket and a hot drink will help.
I am late. > Then take the short way through the park.
I am angry. > Count to ten first, then tell what happened.
I am new here. > Welcome! One gets used to it quickly.
I am afraid of dogs. > Many are. A slow step back helps.
I have a headache. > Drink some water and close your eyes a while.
I have a cold. > Then stay warm and sleep a lot.
I have an idea. > Ideas are welcome, tell it.
I have to go. > Then have a safe way home.
I have no money. > Then let us do something that costs nothing.
I bought a car. > May it always take you home safely.
I broke a cup. > It happens. Mind the pieces.
I found a coin. > That is a lucky day.
I forgot my coat. > Then walk fast, it is cold outside.
I love this song. > It is a good one for a long drive.
I miss my friend. > A letter or a call may make both of you happy.
I need help. > Tell what it is about, and we will see.
I want to sleep. > Then switch off the light and the phone.
I will be back. > Good, the tea will be warm.
I would like a coffee. > With milk, or black?
My bike is broken. > The shop by the station mends bikes.
My brother is a cook. > Then your kitchen must smell good.
My foot hurts. > Put it up and rest for a while.
My name is on the list. > Then you can go right in.
It is so hot. > Sit in the shade and drink enough.
It is late. > Yes, the day went by quickly.
It is snowing! > Then it is time for warm boots.
That was fun. > Yes, let us do it again.
That is a secret. > Then it stays between us.
That is too expensive. > Then wait for a better price.
This is heavy. > Two can carry it more easily.
This tastes good. > It is an old recipe.
Let us go. > Yes, before it gets dark.
Wait for me! > No hurry, there is time.
Look at that bird! > What fine colours it has.
Listen! > It sounds like music from far away.
Sorry! > It is all right, nothing happened.
Excuse me. > Yes, please?
Never mind. > All right, then let us go on.
Yes. > Good, then it is settled.
No. > All right, then not.
Maybe. > There is time to think it over.
Really? > Yes, hard as it is to believe.
Name a colour. > Green.
Name a fruit. > An apple.
Name a big city. > Paris.
Name three animals. > A cat, a horse and a bird.
Say something. > The kettle is singing.
Tell me a story. > A fox found a hat, put it on and was a gentleman for a day.
Tell me about the sea. > It is wide, salty and never still.
Tell me about your day. > It began with rain and ended with tea.
Describe a tree. > A trunk, many branches and more leaves than one can count.
Describe the picture. > A boat on a lake under a grey sky.
What is snow? > Frozen water in small white flakes.
What is a bridge? > A way over a river or a road.
What is a friend? > Somebody who is there when it counts.
What is honey? > Something sweet that bees make.
What is in the box? > Old letters and a key.
What is for lunch? > Soup, and bread with cheese.
What is your favourite season? > Spring, when everything grows.
What is on the table? > A cup, a book and a pair of glasses.
What does a cook do? > A cook makes meals for others.
What does a key do? > A key opens and closes a lock.
What time is it? > Time for a short break, I would say.
What day is it? > One day nearer to the weekend.
What did he say? > That he comes a little later.
What should I wear? > Something warm, the wind is cold.
What should I do today? > Begin with what takes the least time.
What makes you happy? > Small things, such as a good question.
What can you hear? > Birds, and a train far away.
What can we eat? > There is bread, and there are tomatoes.
What are the children doing? > They build a house out of boxes.
What are these keys for? > One is for the cellar, I think.
""".strip().splitlines())  # fmt: skip
